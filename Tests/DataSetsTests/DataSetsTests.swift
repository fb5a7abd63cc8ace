// DataSetsTests
