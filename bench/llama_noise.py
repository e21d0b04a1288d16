"""A llama.cpp sequence state of any length with random keys and values, so that its cache need not be filled by a
prompt of that length.

The state of a sequence, as llama_state_seq_get_data of the 2025-2026 versions lays it out: a magic
number u32, the sequence i32; streams u32, cells u32; for
each cell its position i32, the number of its sequences u32, their ids i32; V transposed u32, layers u32; for each
layer K's type i32, bytes of a row u64, the rows; for each layer V's type i32 and, when V is not transposed, bytes of
a row u64 and the rows, or else bytes of an element u32, elements of a row u32 and the elements, cells innermost.
"""
import ctypes

import numpy as np

F16 = 1   # ggml's number of the type
HEAD = 8  # bytes of the magic number and the sequence


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, kind):
        value = np.frombuffer(self.data, kind, 1, self.at)[0]
        self.at += value.itemsize
        return int(value)


def shape_of(state):
    """(V transposed, layers, bytes of a K or V row) of the state of a single cell."""
    reader = Reader(state)
    reader.at = HEAD
    streams, cells = reader.take("u4"), reader.take("u4")
    if streams != 1 or cells != 1:
        raise SystemExit(f"{streams} streams of {cells} cells: not a state this script knows; use --llama-bench")
    reader.at += 12  # position, one sequence, its id
    transposed, layers = reader.take("u4"), reader.take("u4")
    kind, row = reader.take("i4"), reader.take("u8")
    if kind != F16 or transposed > 1 or not 0 < layers < 1024 or not 0 < row < 1 << 20:
        raise SystemExit("not a state of f16 keys and values that this script knows; use --llama-bench")
    return transposed, layers, row


def noise_state(api, context, cells):
    """The bytes to give to llama_state_seq_set_data for `cells` tokens. The context holds one token."""
    size = api.llama_state_seq_get_size(context, 0)
    one = (ctypes.c_uint8 * size)()
    api.llama_state_seq_get_data(context, one, size, 0)
    one = bytes(one)
    transposed, layers, row = shape_of(one)
    values = np.random.default_rng(1).uniform(-1, 1, cells * row // 2).astype(np.float16).tobytes()
    cell = np.zeros((cells, 3), "i4")
    cell[:, 0], cell[:, 1] = np.arange(cells), 1
    k_head = np.array([F16], "i4").tobytes() + np.array([row], "u8").tobytes()
    v_head = k_head if not transposed else np.array([F16, 2, row // 2], "i4").tobytes()
    parts = [one[:HEAD], np.array([1, cells], "u4").tobytes(), cell.tobytes()]
    parts += [np.array([transposed, layers], "u4").tobytes()]
    parts += [k_head, values] * layers + [v_head, values] * layers
    data = b"".join(parts)
    return (ctypes.c_uint8 * len(data)).from_buffer_copy(data)
