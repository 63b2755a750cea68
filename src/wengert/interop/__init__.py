"""Exchange with other programs: weights as safetensors."""
