"""Fine-tuning compared with what else could be used, on the same subjects, job by job."""
