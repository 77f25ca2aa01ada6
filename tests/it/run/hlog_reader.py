"""Reads an interval log with Python's hdrhistogram: tag, count, and percentiles in milliseconds."""

import sys

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

whole = HdrHistogram(1, 3_600_000_000, 3)
reader = HistogramLogReader(sys.argv[1], whole)
read = 0
while True:
    interval = reader.get_next_interval_histogram()
    if interval is None:
        break
    read += 1
    whole.add(interval)
    print(interval.get_tag())
assert read == 1, read
print(whole.get_total_count())
for level in (50, 95, 99, 100):
    print(whole.get_value_at_percentile(level) / 1000)
