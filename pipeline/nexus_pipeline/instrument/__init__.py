"""Facts about the Wide Field Instrument, frozen: detectors, filters, MA tables, data-quality flags.

The flux convention of every product and reference of this package
------------------------------------------------------------------
The flat is  F = A_rel × QE / g / ⟨A_rel × QE / g⟩, where A_rel is the sky area of a pixel in
units of ``NOMINAL_PIXEL_AREA_SR``, QE the quantum efficiency over its median and g the gain (e/DN).
A flat-fielded L2 image is therefore *surface brightness*: an evenly lit sky is level. Hence

* sky:   I [MJy/sr] = rate [DN/s] × conversion_megajanskys;
* star:  flux [Jy] = Σ rate × A_rel × conversion_megajanskys × NOMINAL_PIXEL_AREA_SR × 1e6,

each pixel being weighed with its own area. Source: romanisim 0.14 ``image.flat_to_qe``, rad 1.1.

The signal convention of every ramp
-----------------------------------
A resultant of a light-sensitive pixel is  L⁻¹(q₀ + q) + d,  that of a reference pixel  d + read noise:
q is the charge since the reset and q₀ that of the reset (both in linear DN), L⁻¹ the inverse
linearity polynomial, d the offset and drift of the electronics, common to the pixels of a channel.
``refpix`` therefore subtracts the whole of d before ``linearity`` applies L.
"""
