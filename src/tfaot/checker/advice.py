"""What to do about an op that can't be compiled, by families of ops.

Each text that names a way around was tried: `tests/check/test_advice.py` compiles it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tfaot.frontend.survey_data import SurveyedNode


@dataclass(frozen=True)
class Problem:
    """Why an op can't be compiled.

    Attributes:
        stage: who says so. `unknown`: TensorFlow has no such op; `refused`: tfaot, whatever XLA
            does; `kernel`: XLA has no kernel; `xla`: XLA refuses it where it is; `code`: tfaot
            generates no code for what it became.
        text: the reason, in one line.
    """

    stage: str
    text: str


@dataclass(frozen=True)
class Family:
    """Ops with the same way around.

    Attributes:
        name: of the family.
        ops: regular expression that matches their whole names.
        text: what to do.
    """

    name: str
    ops: re.Pattern[str]
    text: str


def _family(name: str, ops: str, text: str) -> Family:
    return Family(name, re.compile(rf"(?:{'|'.join(ops.split())})\Z"), text)


FAMILIES = (
    _family(
        "lookup tables",
        "(Anonymous|Mutable|Immutable|Initialize|Lookup)?\\w*Table\\w*",
        "look up before the model and feed the indices; a fixed table of numbers is tf.gather",
    ),
    _family(
        "strings",
        "String\\w* Static(Regex)\\w+ Regex\\w+ Unicode\\w+ AsString Substr ReduceJoin Fingerprint "
        "_TensorToHashBucketFast (Encode|Decode)Base64 WordpieceTokenize\\w* EditDistance",
        "XLA has no strings: turn text into numbers before the model, and export what comes after",
    ),
    _family(
        "files and formats",
        "(Encode|Decode)(?!Base64)\\w+ (Parse|Serialize|Deserialize)\\w+ (Read|Write)File "
        "ExtractJpegShape \\w*Dataset\\w* \\w*Iterator\\w* \\w*Queue\\w* \\w*Reader\\w* "
        "(Restore|Save)\\w*",
        "let the model begin behind its input pipeline: with the decoded tensors as inputs "
        "(--inputs NODE for a frozen graph)",
    ),
    _family(
        "Python",
        "(Eager)?PyFunc(Stateless)?",
        "write the function with TensorFlow ops; tf.function turns conditions and loops into ops",
    ),
    _family(
        "random numbers with a state",
        "Random\\w+ TruncatedNormal ParameterizedTruncatedNormal Multinomial Stateful\\w+ Rng\\w+ "
        "NonDeterministicInts \\w*CandidateSampler",
        "export the model for inference (training=False), or draw with tf.random.stateless_uniform "
        "or tf.random.stateless_normal from a seed that is an input",
    ),
    _family(
        "random distributions",
        "StatelessRandom(Gamma|Poisson|Binomial)\\w* StatelessShuffle",
        "draw before the model and feed the numbers, or use tf.random.stateless_uniform or "
        "tf.random.stateless_normal",
    ),
    _family(
        "state",
        "Assign\\w* Resource(Scatter|Apply|SparseApply)\\w+ Scatter(Update|Add) VarHandleOp "
        "Variable(V2)? ReadVariableOp",
        "make the state an input and its new value an output: the caller keeps it",
    ),
    _family(
        "counts",
        "DenseBincount Bincount SparseBincount RaggedBincount DenseCountSparseOutput",
        "count over a fixed number of bins: tf.reduce_sum(tf.one_hot(x, bins), axis=-2), or "
        "tf.reduce_max for whether there is one",
    ),
    _family(
        "histograms",
        "HistogramFixedWidth",
        "find the bins by arithmetic and count them: tf.reduce_sum(tf.one_hot(bin, bins), axis=0)",
    ),
    _family(
        "crossed features",
        "SparseCross\\w* RaggedCross",
        "cross integers by arithmetic: (a * size_b + b) % bins",
    ),
    _family(
        "images resized by other kernels",
        "ResizeBicubic ResizeArea ScaleAndTranslate",
        "resize with bilinear or nearest; or, as resizing is linear, by two fixed matrices: "
        "tf.einsum('oh,nhwc->nowc', rows, x), then the same for columns",
    ),
    _family(
        "images cut and turned",
        "CropAndResize ImageProjectiveTransform\\w* ExtractGlimpse\\w*",
        "cut with slices and resize with bilinear; or take pixels at computed places with "
        "tf.gather_nd",
    ),
    _family(
        "integers instead of floats",
        "QuantizeV2 Quantized\\w+ Requantiz\\w+ QuantizeDownAndShrinkRange",
        "compute on floats that were rounded alike: tf.quantization.fake_quant_with_min_max_vars, "
        "or tf.round(tf.clip_by_value(x / step, low, high)) * step",
    ),
    _family(
        "pooling with positions",
        "MaxPoolWithArgmax",
        "take the values from tf.nn.max_pool2d and the positions from tf.argmax over "
        "tf.image.extract_patches",
    ),
    _family(
        "other pooling",
        "Fractional(Max|Avg)Pool",
        "use tf.nn.max_pool2d or tf.nn.avg_pool2d",
    ),
    _family(
        "dilation",
        "Dilation2D",
        "tf.reduce_max over tf.image.extract_patches plus the filter",
    ),
    _family(
        "suppression of boxes",
        "NonMaxSuppression\\w* CombinedNonMaxSuppression GenerateBoundingBoxProposals",
        "use tf.image.non_max_suppression_padded with pad_to_max_output_size=True, which gives a "
        "fixed number of boxes, or do it after the model",
    ),
    _family(
        "decoding of sequences",
        "CTC\\w+",
        "let the model end with the scores, and decode after it",
    ),
    _family(
        "spectra",
        "AudioSpectrogram Mfcc",
        "use tf.signal.stft, and tf.signal.mfccs_from_log_mel_spectrograms",
    ),
    _family(
        "segments",
        "Segment(Sum|Mean|Min|Max|Prod) SparseSegment\\w+",
        "use tf.math.unsorted_segment_sum (or _mean, _max) with a fixed number of segments, after "
        "tf.gather where rows are chosen",
    ),
    _family(
        "sparse tensors",
        "Sparse\\w+ \\w*SparseMatrix\\w* AddSparse\\w+ TakeManySparse\\w+ SetSize",
        "feed dense tensors (tf.sparse.to_dense before the model), and use the dense ops: "
        "tf.matmul, tf.reduce_sum, tf.gather",
    ),
    _family(
        "ragged tensors",
        "Ragged\\w+",
        "ragged tensors have no fixed shape: pad them before the model, and mask the rest",
    ),
    _family(
        "Bessel functions",
        "BesselI0 BesselI1",
        "tf.math.bessel_i0e(x) * tf.exp(tf.abs(x)), and bessel_i1e alike",
    ),
    _family(
        "special functions",
        "Bessel[JKY]\\w+ Dawsn Expint Fresnel(Sin|Cos) Spence",
        "interpolate in a table: tf.gather on both sides of x",
    ),
    _family(
        "determinants",
        "(Log|Batch)?MatrixDeterminant",
        "take its size from the diagonal of tf.linalg.qr: tf.reduce_prod(tf.abs(tf.linalg."
        "diag_part(r)), -1); small ones by their formula",
    ),
    _family(
        "least squares",
        "MatrixSolveLs BatchMatrixSolveLs",
        "solve the normal equations: tf.linalg.cholesky_solve(tf.linalg.cholesky(a^T a), a^T b)",
    ),
    _family(
        "other factorisations",
        "Eig Lu MatrixSquareRoot MatrixLogarithm BandedTriangularSolve BatchSelfAdjointEig\\w* "
        "SelfAdjointEig",
        "use tf.linalg.eigh for symmetric matrices, tf.linalg.qr, tf.linalg.solve or "
        "tf.linalg.triangular_solve",
    ),
    _family(
        "norms",
        "EuclideanNorm",
        "tf.sqrt(tf.reduce_sum(tf.square(x), axis))",
    ),
    _family(
        "order statistics",
        "NthElement KthOrderStatistic",
        "tf.sort(x)[..., k]",
    ),
    _family(
        "fused recurrent cells",
        "GRUBlockCell LSTMBlockCell BlockLSTM\\w* CudnnRNN\\w*",
        "use keras.layers.LSTM or GRU, or write the cell with tf.matmul",
    ),
    _family(
        "control flow of TensorFlow 1",
        "(Ref)?(Switch|Merge|Enter|Exit|NextIteration) LoopCond TensorArray\\w+",
        "write loop and condition with tf.while_loop and tf.cond of TensorFlow 2, and export again",
    ),
    _family(
        "several devices",
        "Collective\\w+ Nccl\\w+ TPU\\w+ \\w*TPUEmbedding\\w* _?(Send|Recv) CrossReplicaSum "
        "XlaAllReduce XlaReduceScatter XlaReplicaId XlaSend\\w* XlaRecv\\w*",
        "export the model of one replica, outside the distribution strategy",
    ),
)
"""In this order: the first that matches an op is told."""

_OTHER = "compute it before or after the model, or with other ops"
_TYPES = "cast the operands to another type with tf.cast, and the result back"
_CUSTOM = (
    "write what the op does with TensorFlow's own ops (a tf.function that does the same), and "
    "export again"
)
_CONSTANT = (
    "XLA must know this operand at compile time: make it a constant of the model, or fix the input "
    "that decides it with --set NAME=VALUE"
)
_STRINGS = (
    "XLA has no strings: let the model begin where text has become numbers, and export that part"
)

_OPAQUE_INPUTS = (
    "let the model begin where its inputs are floats, integers or bools "
    "(--inputs NODE for a frozen graph)"
)


def family_of(op: str) -> Family | None:
    """The family of a TensorFlow op."""
    return next((family for family in FAMILIES if family.ops.match(op)), None)


def advice_for(node: SurveyedNode, problem: Problem) -> str:
    """What to do about an op."""
    if problem.stage == "unknown":
        return _CUSTOM
    found = family_of(node.op)
    if found is not None:
        return found.text
    if any(text.startswith("string[") for text in (*node.inputs, *node.outputs)):
        return _STRINGS
    if "compile-time constant" in problem.text:
        return _CONSTANT
    if any("ragged" in text.lower() for text in (problem.text, node.name)):
        return next(f.text for f in FAMILIES if f.name == "ragged tensors")
    return _TYPES if problem.stage == "kernel" and node.other_types else _OTHER


def general_advice(refusal: str, inputs: Sequence[tuple[str, str]]) -> str:
    """What to do about a refusal that is no single op's; empty where the refusal itself says."""
    strings = [name for name, text in inputs if text.startswith("string")]
    if strings:
        return f"{_STRINGS} (inputs of strings: {', '.join(strings)})"
    if " has the type " in refusal:
        return _OPAQUE_INPUTS
    if "keeps a state" in refusal or "resource that is no variable" in refusal:
        return next(f.text for f in FAMILIES if f.name == "state")
    return ""
