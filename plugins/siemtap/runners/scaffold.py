def write(name,into): return []
