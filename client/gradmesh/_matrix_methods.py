"""The methods of Tensor that are functions of matrices, spectra and complex numbers: `x.det()` is `gm.det(x)`."""

from __future__ import annotations

from gradmesh._functions import complexes, factor, products, solve, spectral


class MatrixMethods:
    """The linear algebra of Tensor."""

    __slots__ = ()

    addbmm = products.addbmm
    addmv = products.addmv
    addr = products.addr
    adjoint = factor.adjoint
    cholesky = factor.cholesky
    cholesky_inverse = factor.cholesky_inverse
    cholesky_solve = factor.cholesky_solve
    corrcoef = products.corrcoef
    cov = products.cov
    cross = products.cross
    det = solve.det
    dist = products.dist
    geqrf = factor.geqrf
    ger = products.ger
    inner = products.inner
    inverse = solve.linalg_inv
    istft = spectral.istft
    kron = products.kron
    logdet = solve.logdet
    lu = factor.lu
    lu_solve = factor.lu_solve
    matrix_exp = solve.matrix_exp
    matrix_power = solve.matrix_power
    orgqr = factor.linalg_householder_product
    ormqr = factor.ormqr
    pinverse = solve.pinverse
    qr = factor.qr
    renorm = products.renorm
    resolve_conj = complexes.resolve_conj
    resolve_neg = complexes.resolve_neg
    slogdet = solve.slogdet
    stft = spectral.stft
    svd = factor.svd
    triangular_solve = factor.triangular_solve
    vdot = products.vdot
