"""Facts about the Wide Field Instrument, frozen: detectors, filters, MA tables, data-quality flags.

The flux convention of every product and reference of this package
------------------------------------------------------------------
The flat is  F = A_rel × QE / g / ⟨A_rel × QE / g⟩, where A_rel is the sky area of a pixel in
units of ``NOMINAL_PIXEL_AREA_SR``, QE the relative quantum efficiency and g the gain (e/DN).
A flat-fielded L2 image is therefore *surface brightness*: an evenly lit sky is level. Hence

* sky:   I [MJy/sr] = rate [DN/s] × conversion_megajanskys;
* star:  flux [Jy] = Σ rate × A_rel × conversion_megajanskys × NOMINAL_PIXEL_AREA_SR × 1e6,

each pixel being weighed with its own area. Source: romanisim 0.14 ``image.flat_to_qe``, rad 1.1.
"""
