#include <cblas.h>
#include <stddef.h>

/* LAPACK: eigenvalues and eigenvectors of a symmetric matrix. OpenBLAS exports it; its C header is
   in another package. The last two arguments are the lengths of the first two, as Fortran has it. */
void dsyevd_(const char *job, const char *triangle, const blasint *n, double *a,
             const blasint *leading, double *values, double *work, const blasint *work_size,
             blasint *int_work, const blasint *int_work_size, blasint *info, size_t, size_t);
