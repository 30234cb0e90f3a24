"""What derived objects say in space: segmentations, structure sets, dose."""
