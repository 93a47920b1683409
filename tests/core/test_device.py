"""Conversion of arrays to tensors: any byte order and strides; an error names the image of a non-finite value."""

import numpy as np
import pytest
import torch

from nsdlib.core.device import check_finite, to_tensor


@pytest.mark.parametrize("kind", [">f4", "<f4", ">f8", ">f2", ">i2", "u1", "?"])
def test_an_array_of_any_byte_order_becomes_a_tensor(kind):
    values = np.arange(12).reshape(3, 4).astype(kind)
    for view in (values, values[::-1], values[:, ::-2], values.T, values[1], values[1, 2]):
        np.testing.assert_array_equal(to_tensor(view), view)
    assert to_tensor(values, dtype=torch.float64).dtype == torch.float64


def test_memory_is_test_where_it_may_be_written():
    values = np.zeros(3, np.float32)
    to_tensor(values)[0] = 1
    assert values[0] == 1
    values.flags.writeable = False
    to_tensor(values)[1] = 1
    assert values[1] == 0


def test_what_is_no_number_is_named_by_its_image():
    values = np.ones((8, 2, 3), dtype=np.float16)
    assert check_finite("tokens", values) is values
    values[1:7, 0, 0], values[3, 1] = np.nan, -np.inf
    with pytest.raises(ValueError, match=r"^tokens holds 9 values that are not finite numbers, in rows 1, 2, 3, 4, 5, \.\.\.$"):
        check_finite("tokens", values)
    with pytest.raises(ValueError, match=r"in images 17, 18, 19, 20, 21, \.\.\.$"):
        check_finite("tokens", values, range(16, 24))
