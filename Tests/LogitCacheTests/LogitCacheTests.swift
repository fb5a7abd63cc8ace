// LogitCacheTests
