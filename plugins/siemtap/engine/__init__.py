"""The loop from a vendor's records to an output.

protocols   what the parts of the loop require of each other
pump        the loop itself: map a batch, deliver the events and the mark
feeds       where batches come from: a vendor's API, the spool
mapper      batch -> events
passing     events that another siemtap made, unmapped
sinks       wrappers around an output: save the checkpoint, skip what was delivered before
confirmations  what senders ask to be confirmed, in a thread of its own
cycle       the attempts of a unit: what a failure means, when the next attempt is due
time_range  the settings of an input that reads a chosen time range
"""
