// DoorsTests
