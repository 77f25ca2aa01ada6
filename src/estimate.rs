//! Seconds and requests that a plan will take, before it runs. Knows plan, matrix, prompts.
