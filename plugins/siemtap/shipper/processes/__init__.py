"""`processes: N`: a supervisor, N workers and a process of receivers share one configuration."""
