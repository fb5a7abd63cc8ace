print("logitcache")
