// BLAS
