"""Replaces the attention of a Hugging Face model by a differentiable ATP and trains the model to live with it.

The numbers of the forward pass are those of the C++ engine (src/attention/atp.h and the files beside it), so what is
trained here runs there: `python -m lowkey.adapt --help`.
"""
