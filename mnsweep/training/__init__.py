"""Train a design on labelled pictures: recipes, the loop, distillation, and quantization-aware fine-tuning."""
