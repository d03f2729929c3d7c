"""How fast this machine trains and loads, measured as ratios within one run."""
