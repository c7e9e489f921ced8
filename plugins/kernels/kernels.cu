// All kernels of PD-Loss and D-Loss, one image. What is launched when stands in plugins/src/cuda/{sides,forward,backward}.rs.
//
// | file        | kernels                                                           | what                                                      |
// |-------------|-------------------------------------------------------------------|-----------------------------------------------------------|
// | rows.cu     | unit_rows, sum_slabs, centre, along, scatter_along                | lengths and mean; centred rows; products with a direction |
// | pairs.cu    | cosines, sort_labels, merge_labels, no_heads, heads, gather_links | genuine pairs                                             |
// | gram.cu     | add_scatter, scatter_products, scale_scatter                      | Gram path                                                 |
// | tiles.cu    | sum_tile, weigh_tile                                              | tiles path and D-Loss                                     |
// | loss.cu     | conclude, weigh                                                   | moments to loss, loss to weights                          |
// | tensor.cu   | tensor_gram, add_gram, split_scatter, tensor_gradient              | the Gram path's products on tensor cores                  |
// | gradient.cu | finish                                                            | products and weights to gradients                         |
#include "rows.cu"
#include "pairs.cu"
#include "gram.cu"
#include "tiles.cu"
#include "loss.cu"
#include "gradient.cu"
#include "tensor.cu"
