"""Ops that XLA lacks, each with the way around that the advice names, as functions of TensorFlow.

Nothing here imports TensorFlow: a case is given the module when its functions are made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

TF = Any
Function = Callable[..., Any]
RNG = np.random.default_rng(3)


@dataclass(frozen=True)
class AdviceCase:
    """An op that can't be compiled, and what its family's advice makes of it.

    Attributes:
        op: the TensorFlow op.
        inputs: of both functions.
        refused: a function with the op, given TensorFlow.
        around: the way around.
        compared: whether the results are the same: some ways around change what is computed.
    """

    op: str
    inputs: tuple[np.ndarray, ...]
    refused: Callable[[TF], Function]
    around: Callable[[TF], Function]
    compared: bool = True


def floats(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


IMAGE = floats(2, 6, 6, 3)
POSITIVE = np.abs(floats(5)) + 0.5
SPD = (lambda a: a @ a.T + 4 * np.eye(4, dtype=np.float32))(floats(4, 4))
IDS = np.array([[1, 2, 2, 0], [3, 3, 3, 1]], np.int32)
BOXES = np.array([[0, 0, 1, 1], [0, 0, 0.9, 1], [0.5, 0.5, 1, 1]], np.float32)
SCORES = np.array([0.9, 0.8, 0.7], np.float32)
SEGMENTS = np.array([0, 0, 1, 2, 2], np.int32)


def _bicubic(tf: TF) -> Function:
    unit = np.eye(6, dtype=np.float32)[:, None, :, None]
    columns = tf.image.resize(np.tile(unit, (1, 1, 1, 1)), (1, 9), "bicubic").numpy()
    matrix = columns[:, 0, :, 0].T

    def resize(x: Any) -> Any:
        rows = tf.einsum("oh,nhwc->nowc", matrix, x)
        return tf.einsum("ow,nhwc->nhoc", matrix, rows)

    return resize


def _positions(tf: TF) -> Function:
    def pool(x: Any) -> Any:
        patches = tf.image.extract_patches(x, [1, 2, 2, 1], [1, 2, 2, 1], [1] * 4, "VALID")
        patches = tf.reshape(patches, (2, 3, 3, 4, 3))
        place = tf.argmax(patches, axis=3, output_type=tf.int64)
        row = 2 * tf.range(3, dtype=tf.int64)[None, :, None, None] + place // 2
        column = 2 * tf.range(3, dtype=tf.int64)[None, None, :, None] + place % 2
        return (row * 6 + column) * 3 + tf.range(3, dtype=tf.int64)

    return pool


def _dilation(tf: TF) -> Function:
    def dilate(x: Any) -> Any:
        patches = tf.image.extract_patches(x, [1, 2, 2, 1], [1] * 4, [1] * 4, "VALID")
        return tf.reduce_max(tf.reshape(patches, (2, 5, 5, 4, 3)) + FILTER.reshape(4, 3), axis=3)

    return dilate


FILTER = floats(2, 2, 3)

CASES = (
    AdviceCase(
        "DenseBincount",
        (IDS,),
        lambda tf: lambda x: tf.math.bincount(x, maxlength=5, minlength=0, axis=-1),
        lambda tf: lambda x: tf.cast(tf.reduce_sum(tf.one_hot(x, 4), axis=-2), tf.int32),
    ),
    AdviceCase(
        "HistogramFixedWidth",
        (floats(20),),
        lambda tf: lambda x: tf.histogram_fixed_width(x, [-1.0, 1.0], 4),
        lambda tf: (
            lambda x: tf.cast(
                tf.reduce_sum(
                    tf.one_hot(tf.clip_by_value(tf.cast(tf.floor((x + 1) * 2), tf.int32), 0, 3), 4),
                    axis=0,
                ),
                tf.int32,
            )
        ),
    ),
    AdviceCase(
        "ResizeBicubic",
        (IMAGE,),
        lambda tf: lambda x: tf.image.resize(x, (9, 9), "bicubic"),
        _bicubic,
    ),
    AdviceCase(
        "QuantizeV2",
        (floats(8),),
        lambda tf: (
            lambda x: tf.cast(tf.quantization.quantize(x, -1.0, 1.0, tf.qint8)[0], tf.float32)
        ),
        lambda tf: lambda x: tf.round(tf.clip_by_value(x / 0.01, -128.0, 127.0)) * 0.01,
        compared=False,
    ),
    AdviceCase(
        "QuantizeV2",
        (floats(8),),
        lambda tf: (
            lambda x: tf.cast(tf.quantization.quantize(x, -1.0, 1.0, tf.qint8)[0], tf.float32)
        ),
        lambda tf: lambda x: tf.quantization.fake_quant_with_min_max_vars(x, -1.0, 1.0),
        compared=False,
    ),
    AdviceCase(
        "MaxPoolWithArgmax",
        (IMAGE,),
        lambda tf: lambda x: tf.nn.max_pool_with_argmax(x, 2, 2, "VALID")[1],
        _positions,
    ),
    AdviceCase(
        "Dilation2D",
        (IMAGE,),
        lambda tf: lambda x: tf.nn.dilation2d(x, FILTER, [1] * 4, "VALID", "NHWC", [1] * 4),
        _dilation,
    ),
    AdviceCase(
        "NonMaxSuppressionV5",
        (BOXES, SCORES),
        lambda tf: (
            lambda boxes, scores: tf.image.non_max_suppression_with_scores(boxes, scores, 2)[0]
        ),
        lambda tf: (
            lambda boxes, scores: tf.image.non_max_suppression_padded(
                boxes, scores, 2, pad_to_max_output_size=True
            )[0]
        ),
    ),
    AdviceCase(
        "SegmentMean",
        (floats(5, 2),),
        lambda tf: lambda x: tf.math.segment_mean(x, SEGMENTS),
        lambda tf: lambda x: tf.math.unsorted_segment_mean(x, SEGMENTS, 3),
    ),
    AdviceCase(
        "SparseSegmentSum",
        (floats(5, 2),),
        lambda tf: lambda x: tf.sparse.segment_sum(x, [0, 2, 4], [0, 0, 1]),
        lambda tf: lambda x: tf.math.unsorted_segment_sum(tf.gather(x, [0, 2, 4]), [0, 0, 1], 2),
    ),
    AdviceCase(
        "BesselI0",
        (POSITIVE,),
        lambda tf: tf.math.special.bessel_i0 and (lambda x: tf.raw_ops.BesselI0(x=x)),
        lambda tf: lambda x: tf.math.bessel_i0e(x) * tf.exp(tf.abs(x)),
    ),
    AdviceCase(
        "BesselI1",
        (POSITIVE,),
        lambda tf: lambda x: tf.raw_ops.BesselI1(x=x),
        lambda tf: lambda x: tf.math.bessel_i1e(x) * tf.exp(tf.abs(x)),
    ),
    AdviceCase(
        "MatrixDeterminant",
        (SPD,),
        lambda tf: lambda x: tf.linalg.det(x),
        lambda tf: lambda x: tf.reduce_prod(tf.abs(tf.linalg.diag_part(tf.linalg.qr(x).r)), -1),
    ),
    AdviceCase(
        "MatrixSolveLs",
        (floats(6, 3), floats(6, 1)),
        lambda tf: lambda a, b: tf.raw_ops.MatrixSolveLs(matrix=a, rhs=b, l2_regularizer=0.0),
        lambda tf: (
            lambda a, b: tf.linalg.cholesky_solve(
                tf.linalg.cholesky(tf.matmul(a, a, transpose_a=True)),
                tf.matmul(a, b, transpose_a=True),
            )
        ),
    ),
    AdviceCase(
        "Eig",
        (SPD,),
        lambda tf: lambda x: tf.sort(tf.math.real(tf.linalg.eigvals(x))),
        lambda tf: lambda x: tf.linalg.eigh(x)[0],
    ),
    AdviceCase(
        "EuclideanNorm",
        (floats(3, 4),),
        lambda tf: lambda x: tf.math.reduce_euclidean_norm(x, 1),
        lambda tf: lambda x: tf.sqrt(tf.reduce_sum(tf.square(x), 1)),
    ),
    AdviceCase(
        "NthElement",
        (floats(3, 7),),
        lambda tf: lambda x: tf.raw_ops.NthElement(input=x, n=2),
        lambda tf: lambda x: tf.sort(x)[..., 2],
    ),
    AdviceCase(
        "AudioSpectrogram",
        (floats(64, 1),),
        lambda tf: (
            lambda x: tf.raw_ops.AudioSpectrogram(
                input=x, window_size=16, stride=8, magnitude_squared=False
            )
        ),
        lambda tf: lambda x: tf.abs(tf.signal.stft(x[None, :, 0], 16, 8, 16)),
    ),
    AdviceCase(
        "Mfcc",
        (np.abs(floats(1, 7, 9)),),
        lambda tf: (
            lambda x: tf.raw_ops.Mfcc(
                spectrogram=x, sample_rate=8000, filterbank_channel_count=8, dct_coefficient_count=4
            )
        ),
        lambda tf: lambda x: tf.signal.mfccs_from_log_mel_spectrograms(tf.math.log(x + 1))[..., :4],
        compared=False,
    ),
    AdviceCase(
        "CropAndResize",
        (IMAGE,),
        lambda tf: (
            lambda x: tf.image.crop_and_resize(x, [[0.0, 0.0, 1.0, 1.0]] * 2, [0, 1], (4, 4))
        ),
        lambda tf: lambda x: tf.image.resize(x[:, 0:4, 1:5], (4, 4), "bilinear"),
        compared=False,
    ),
    AdviceCase(
        "ImageProjectiveTransformV3",
        (IMAGE,),
        lambda tf: (
            lambda x: tf.raw_ops.ImageProjectiveTransformV3(
                images=x,
                transforms=tf.constant([[1.0, 0, 1, 0, 1, 1, 0, 0]]),
                output_shape=[5, 5],
                fill_value=0.0,
                interpolation="NEAREST",
            )
        ),
        lambda tf: (
            lambda x: tf.gather_nd(
                x,
                tf.constant(
                    [[[[n, i + 1, j + 1] for j in range(5)] for i in range(5)] for n in range(2)]
                ),
            )
        ),
    ),
    AdviceCase(
        "FractionalMaxPool",
        (IMAGE,),
        lambda tf: lambda x: tf.nn.fractional_max_pool(x, [1.0, 1.5, 1.5, 1.0], seed=1)[0],
        lambda tf: lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID"),
        compared=False,
    ),
    AdviceCase(
        "Spence",
        (POSITIVE,),
        lambda tf: lambda x: tf.math.special.spence(x),
        lambda tf: _table(tf),
        compared=False,
    ),
    AdviceCase(
        "StatelessRandomGammaV3",
        (np.array([1, 2], np.int32),),
        lambda tf: lambda seed: tf.random.stateless_gamma([4], seed, 2.0),
        lambda tf: lambda seed: tf.random.stateless_normal([4], seed),
        compared=False,
    ),
    AdviceCase(
        "RandomUniform",
        (floats(4),),
        lambda tf: lambda x: x * tf.random.uniform([4]),
        lambda tf: lambda x: x * tf.random.stateless_uniform([4], [1, 2]),
        compared=False,
    ),
    AdviceCase(
        "SparseTensorDenseMatMul",
        (floats(3, 2),),
        lambda tf: (
            lambda x: tf.sparse.sparse_dense_matmul(
                tf.sparse.SparseTensor([[0, 1], [1, 2]], [1.0, 2.0], [2, 3]), x
            )
        ),
        lambda tf: lambda x: tf.matmul(tf.constant([[0.0, 1.0, 0.0], [0.0, 0.0, 2.0]]), x),
    ),
    AdviceCase(
        "EagerPyFunc",
        (floats(4),),
        lambda tf: lambda x: tf.ensure_shape(tf.py_function(lambda v: 2 * v, [x], x.dtype), [4]),
        lambda tf: lambda x: 2 * x,
    ),
    AdviceCase(
        "GRUBlockCell",
        (floats(2, 3), floats(2, 2)),
        lambda tf: (
            lambda x, h: (
                tf.raw_ops.GRUBlockCell(
                    x=x,
                    h_prev=h,
                    w_ru=tf.ones([5, 4]),
                    w_c=tf.ones([5, 2]),
                    b_ru=tf.zeros([4]),
                    b_c=tf.zeros([2]),
                ).h
            )
        ),
        lambda tf: _gru(tf),
    ),
)


def _gru(tf: TF) -> Function:
    def cell(x: Any, h: Any) -> Any:
        both = tf.sigmoid(tf.matmul(tf.concat([x, h], 1), tf.ones([5, 4])))
        reset, update = tf.split(both, 2, 1)
        fresh = tf.tanh(tf.matmul(tf.concat([x, reset * h], 1), tf.ones([5, 2])))
        return update * h + (1 - update) * fresh

    return cell


def _table(tf: TF) -> Function:
    grid = tf.math.special.spence(tf.linspace(0.0, 8.0, 81)).numpy()

    def interpolated(x: Any) -> Any:
        place = tf.clip_by_value(x * 10, 0.0, 79.0)
        left = tf.cast(tf.floor(place), tf.int32)
        part = place - tf.floor(place)
        return tf.gather(grid, left) * (1 - part) + tf.gather(grid, left + 1) * part

    return interpolated
