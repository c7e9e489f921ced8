// All kernels, one image. What is launched when stands in plugins/src/cuda/{sides,forward,backward}.rs and, of those of a step, in
// plugins/src/cuda/step.
//
// | file        | kernels                                                | what                                                      |
// |-------------|--------------------------------------------------------|-----------------------------------------------------------|
// | rows.cu     | unit_rows, sum_slabs, centre, along, scatter_along     | lengths and mean; centred rows; products with a direction |
// | pairs.cu    | cosines, merge_labels, heads, gather_links             | genuine pairs                                             |
// | gram.cu     | add_scatter, scatter_products, scale_scatter           | Gram path through cuBLAS                                  |
// | tiles.cu    | sum_tile, weigh_tile                                   | tiles path and D-Loss                                     |
// | loss.cu     | conclude, weigh, judge                                 | moments to loss, loss to weights                          |
// | sweep.cu    | prepare, sweep, measure                                | Gram path on tensor cores: the first pass over the rows   |
// | settle.cu   | settle                                                 | what its slabs come to                                    |
// | tensor.cu   | tensor_gram                                            | its products of longer rows                               |
// | gradient.cu | finish                                                 | products and weights to gradients                         |
// | turn.cu     | split_scatter, tensor_gradient                         | the same on tensor cores: the second pass                 |
// | norm.cu, update.cu, activation.cu, normalization.cu, pool.cu | square_sums, gradient_norm; update; activation_grad; batch_*, layer_*; max_pool, max_pool_grad | a training step beside the loss |
#include "rows.cu"
#include "pairs.cu"
#include "gram.cu"
#include "tiles.cu"
#include "loss.cu"
#include "gradient.cu"
#include "turn.cu"
#include "sweep.cu"
#include "settle.cu"
#include "tensor.cu"
#include "norm.cu"
#include "update.cu"
#include "activation.cu"
#include "normalization.cu"
#include "pool.cu"
