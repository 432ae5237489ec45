"""What the files of trainings tell of them while they run: read, and never written."""
