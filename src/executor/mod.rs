//! Drives cells through the SDK. Knows plan, matrix, record, units, prompts; never stats, guard or terminal.
