"""Linear algebra and transforms at the edges: failures, degenerate matrices, views, named results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradmesh as gm
from gradmesh_engine.errors import AttributeTypeError, LinAlgError, NotDifferentiableError

SINGULAR = [[1.0, 2.0], [2.0, 4.0]]


def _batch(bad: object, at: int, count: int) -> gm.Tensor:
    """Matrices of which one, at a position, is bad."""
    matrices = np.tile(np.diag([2.0, 3.0]), (count, 1, 1))
    matrices[at] = bad
    return gm.tensor(matrices)


# --- matrices that have no such factorization -------------------------------------------------------

FAILURES: list[tuple[Callable[[gm.Tensor], Any], object, str]] = [
    (gm.linalg.cholesky, [[1.0, 2.0], [2.0, 1.0]], "leading minor of order 2 is not positive-definite"),
    (lambda a: gm.linalg.cholesky_ex(a, check_errors=True).L, [[-1.0, 0.0], [0.0, 1.0]], "order 1"),
    (gm.linalg.inv, [[0.0, 0.0], [0.0, 1.0]], "diagonal element 1 is zero"),
    (lambda a: gm.linalg.solve(a, gm.ones(2, dtype=gm.float64)), SINGULAR, "input matrix is singular"),
    (lambda a: gm.linalg.lu_factor(a).LU, SINGULAR, r"U\[2,2\] is zero"),
    (gm.linalg.svdvals, [[np.nan, 0.0], [0.0, 1.0]], "non-finite values"),
    (gm.linalg.eigvals, [[np.inf, 0.0], [0.0, 1.0]], "infs or NaNs"),
]


@pytest.mark.parametrize(("run", "bad", "words"), FAILURES)
def test_a_failure_names_the_matrix_and_the_users_line(
    run: Callable[[gm.Tensor], Any], bad: object, words: str
) -> None:
    with pytest.raises(LinAlgError, match=words) as caught:
        run(gm.tensor(bad, dtype=gm.float64)).numpy()
    assert "Batch element" not in str(caught.value)
    assert caught.value.source.startswith("test_linalg.py:")
    with pytest.raises(LinAlgError, match=words) as caught:
        run(_batch(bad, 4321, 5000)).numpy()  # long enough to be run in blocks
    assert "(Batch element 4321)" in str(caught.value)


def test_failures_are_what_users_catch() -> None:
    assert issubclass(LinAlgError, RuntimeError) and issubclass(LinAlgError, ValueError)
    assert gm.linalg.LinAlgError is LinAlgError


def test_functions_that_end_in_ex_report_instead() -> None:
    batch = _batch(SINGULAR, 1, 3)
    assert gm.linalg.inv_ex(batch).info.tolist() == [0, 2, 0]
    assert gm.linalg.solve_ex(batch, gm.ones(2, dtype=gm.float64)).info.tolist() == [0, 2, 0]
    assert gm.linalg.lu_factor_ex(batch).info.tolist() == [0, 2, 0]
    factor, info = gm.linalg.cholesky_ex(_batch([[-1.0, 0.0], [0.0, 1.0]], 1, 3))
    assert info.tolist() == [0, 1, 0]
    np.testing.assert_allclose(factor[2].numpy(), np.diag(np.sqrt([2.0, 3.0])))


def test_pivoting_cannot_be_left_out() -> None:
    for function in (gm.linalg.lu, gm.linalg.lu_factor, gm.linalg.lu_factor_ex):
        with pytest.raises(AttributeTypeError, match="not implemented on the CPU"):
            function(gm.eye(2), pivot=False)


# --- degenerate matrices ----------------------------------------------------------------------------


def test_eigenvalues_that_are_equal_have_gradients() -> None:
    for values in (gm.linalg.eigvalsh, lambda a: gm.linalg.eigh(a).eigenvalues, gm.linalg.svdvals):
        a = gm.eye(3, dtype=gm.float64).requires_grad_()
        values(a).sum().backward()
        assert a.grad is not None
        np.testing.assert_allclose(a.grad.numpy(), np.eye(3), atol=1e-12)


@pytest.mark.parametrize("rank", [1, 2])
def test_the_determinant_of_a_singular_matrix_has_a_gradient(rank: int) -> None:
    rng = np.random.default_rng(3)
    a = gm.tensor(np.round(rng.uniform(-4, 4, (3, rank))) @ np.round(rng.uniform(-4, 4, (rank, 3)))).requires_grad_()
    gm.linalg.det(a).backward()
    cofactors = np.empty((3, 3))
    for i, j in np.ndindex(3, 3):
        minor = np.delete(np.delete(a.detach().numpy(), i, 0), j, 1)
        cofactors[i, j] = (-1) ** (i + j) * (minor[0, 0] * minor[1, 1] - minor[0, 1] * minor[1, 0])
    assert a.grad is not None
    np.testing.assert_allclose(a.grad.numpy(), cofactors, atol=1e-9)


def test_what_qr_cannot_differentiate() -> None:
    for mode in ("r", "complete"):
        a = gm.ones(3, 2, dtype=gm.float64).requires_grad_()
        with pytest.raises(NotDifferentiableError):
            gm.linalg.qr(a, mode=mode).R.sum().backward()
    assert gm.linalg.qr(gm.eye(3), mode="r").Q.shape == (0,)


# --- results ----------------------------------------------------------------------------------------


def test_results_print_as_pytorch_prints_them() -> None:
    printed = repr(gm.linalg.slogdet(gm.eye(2)))
    assert printed == "torch.return_types.linalg_slogdet(\nsign=tensor(1.),\nlogabsdet=tensor(0.))"


def test_the_permutation_is_not_differentiated() -> None:
    a = gm.eye(2).requires_grad_()
    p, lower, upper = gm.linalg.lu(a)
    assert (p.requires_grad, lower.requires_grad, upper.requires_grad) == (False, True, True)


@pytest.mark.parametrize(("driver", "filled"), [("gelsy", (2,)), ("gels", (1,)), ("gelsd", (1, 2, 3))])
def test_least_squares_gives_what_the_driver_has(driver: str, filled: tuple[int, ...]) -> None:
    a = gm.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=gm.float64)
    found = gm.linalg.lstsq(a, gm.ones(3, 1, dtype=gm.float64), driver=driver)
    np.testing.assert_allclose(found.solution.numpy(), np.full((2, 1), 2 / 3))
    assert tuple(i for i in (1, 2, 3) if found[i].numel()) == filled


def test_residuals_need_full_rank() -> None:
    found = gm.linalg.lstsq(gm.ones(3, 2), gm.ones(3, 1), driver="gelsd")
    assert (found.rank.item(), found.residuals.numel()) == (1, 0)


def test_a_condition_number_of_a_singular_matrix_is_infinite() -> None:
    for p in (1, "fro", float("inf"), None):
        assert gm.linalg.cond(gm.tensor([[1.0, 0.0], [0.0, 0.0]]), p).item() == float("inf")


# --- complex views and transforms -------------------------------------------------------------------


def test_writes_go_through_complex_views() -> None:
    z = gm.tensor([1 + 2j, 3 + 4j])
    gm.view_as_real(z)[:, 1] = 0.0
    assert z.tolist() == [1 + 0j, 3 + 0j]
    pairs = gm.tensor([[1.0, 2.0], [3.0, 4.0]])
    gm.view_as_complex(pairs)[0] = 5 + 6j
    assert pairs.tolist() == [[5.0, 6.0], [3.0, 4.0]]


@pytest.mark.parametrize("hop", [2, 4])
def test_a_signal_comes_back_from_its_short_time_transform(hop: int) -> None:
    signal = gm.tensor(np.random.default_rng(0).standard_normal((3, 50)))
    window = gm.tensor(np.hanning(9)[:-1] + 0.1)
    options: dict[str, Any] = {"hop_length": hop, "window": window}
    spectrum = gm.stft(signal, 8, return_complex=True, **options)
    np.testing.assert_allclose(gm.istft(spectrum, 8, length=50, **options).numpy(), signal.numpy(), atol=1e-12)


@pytest.mark.parametrize("n", [4, 5])
def test_frequencies(n: int) -> None:
    np.testing.assert_allclose(gm.fft.fftfreq(n, 0.5).numpy(), np.fft.fftfreq(n, 0.5))
    np.testing.assert_allclose(gm.fft.rfftfreq(n, 0.5).numpy(), np.fft.rfftfreq(n, 0.5))


def test_refused_transforms() -> None:
    with pytest.raises(AttributeTypeError, match="normalization"):
        gm.fft.fft(gm.ones(2), norm="half")
    with pytest.raises(ValueError, match="data points"):
        gm.fft.fft(gm.ones(2), n=0)
    with pytest.raises(ValueError, match="real input"):
        gm.fft.rfft(gm.tensor([1j]))
    with pytest.raises(AttributeTypeError, match="return_complex"):
        gm.stft(gm.ones(8), 4)
