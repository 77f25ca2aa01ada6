//! What people see while and after a run. State to lines, then lines to a terminal.
