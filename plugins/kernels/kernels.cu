// All kernels of PD-Loss and D-Loss, one image.
#include "rows.cu"
#include "pairs.cu"
#include "gram.cu"
#include "tiles.cu"
#include "loss.cu"
#include "gradient.cu"
