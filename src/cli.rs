//! The command line (clap). The flags of settings come from config's table.
