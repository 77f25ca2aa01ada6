//! One run on several machines: shards, exchanges, merging and job submission.

mod bucket;
mod cluster;
mod deploy;
mod directory;
mod faults;
mod machines;
mod slurm;
mod submit;
