// LogitCache
