//! What a run leaves behind: records, journal, manifest, the run directory. Knows plan, matrix, units.
