"""From the inputs to the outputs: straight to the only one, or by a queue to each of several."""
