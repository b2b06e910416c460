"""What a model's folder holds, checked in one place before anything is sampled from it or trained."""
