// All kernels of PD-Loss and D-Loss, one image. What is launched when stands in plugins/src/cuda/{sides,forward,backward}.rs.
//
// | file        | kernels                                      | what                                                    |
// |-------------|----------------------------------------------|---------------------------------------------------------|
// | rows.cu     | unit_rows, sum_slabs, centre, along          | lengths and mean; centred rows; dot products with a mean |
// | pairs.cu    | cosines, no_links, links                     | genuine pairs                                           |
// | gram.cu     | add_scatter, scatter_products, scale_scatter | Gram path                                               |
// | tiles.cu    | sum_tile, weigh_tile                         | tiles path and D-Loss                                   |
// | loss.cu     | conclude, weigh                              | moments to loss, loss to weights                        |
// | gradient.cu | finish                                       | products and weights to gradients                       |
#include "rows.cu"
#include "pairs.cu"
#include "gram.cu"
#include "tiles.cu"
#include "loss.cu"
#include "gradient.cu"
