"""Read derived objects as arrays: segmentations, structure sets, dose, waveforms."""
