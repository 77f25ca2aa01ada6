//! Prompts files and the prompts that are embedded in the binary. Knows plan and units.
