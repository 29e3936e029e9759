"""convolution against its definition, element by element, on small integers (exact)."""

from itertools import product

import numpy as np
import pytest

from tfaot.interpreter import evaluate
from tfaot.ir.attributes import Convolution
from tfaot.testing.cases import op_cases


def convolve_by_element(x, kernel, a, dims):
    """The sum over window and input features, as the HLO specification states it."""
    out = np.zeros(dims, np.complex128 if np.iscomplexobj(x) else np.float64)
    inputs = kernel.shape[a.kernel_input_feature]
    outputs_per_group = dims[a.output_feature] // (a.feature_group_count * a.batch_group_count)
    rows = x.shape[a.input_batch] // a.batch_group_count
    for position in product(*map(range, dims)):
        feature = position[a.output_feature]
        group = feature // outputs_per_group
        for offset in product(*(range(w.size) for w in a.window)):
            where, weight = [0] * x.ndim, [0] * x.ndim
            for d, (o, w) in enumerate(zip(offset, a.window, strict=True)):
                at = position[a.output_spatial[d]] * w.stride + o * w.window_dilation
                at -= w.padding_low
                if (
                    at % w.base_dilation
                    or not 0 <= at // w.base_dilation < x.shape[a.input_spatial[d]]
                ):
                    break
                where[a.input_spatial[d]] = at // w.base_dilation
                weight[a.kernel_spatial[d]] = w.size - 1 - o if w.reversal else o
            else:
                where[a.input_batch] = position[a.output_batch]
                first = 0
                if a.batch_group_count > 1:
                    where[a.input_batch] += group * rows
                else:
                    first = group * inputs
                weight[a.kernel_output_feature] = feature
                for i in range(inputs):
                    where[a.input_feature] = first + i
                    weight[a.kernel_input_feature] = i
                    out[position] += out.dtype.type(x[tuple(where)]) * out.dtype.type(
                        kernel[tuple(weight)]
                    )
    return out


@pytest.mark.parametrize("case", op_cases(["convolution"]), ids=str)
def test_convolution(case):
    if case.name.endswith(("-63", "-64", "-65", "-127", "-31", "-33")):
        pytest.skip("the element-by-element reference is slow; shapes are checked in test_cases")
    module = case.module()
    inputs = [np.trunc(np.real(v.astype(np.complex128))).astype(v.dtype) for v in case.inputs(3, 2)]
    if case.dtype.numpy.itemsize == 2:
        # Sums stay exact in the narrowest type.
        inputs = [np.sign(v.astype(np.float32)).astype(v.dtype) for v in inputs]
    root = module.entry.root
    expected = convolve_by_element(*inputs, root.attr(Convolution), root.array.at(2).dims)
    actual = evaluate(module, inputs)[0]
    np.testing.assert_array_equal(actual.astype(expected.dtype), expected)
