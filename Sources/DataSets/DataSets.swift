// DataSets
