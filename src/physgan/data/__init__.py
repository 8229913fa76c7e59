"""From clear pictures to training batches: reading, packing, cropping, degrading."""
