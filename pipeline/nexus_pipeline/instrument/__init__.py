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
A resultant of a light-sensitive pixel is the mean of its reads' C⁻¹(L⁻¹(q₀ + q)), shared with its
neighbours by interpixel capacitance, plus d; that of a reference pixel is bias + d. Here q is the charge
since the reset and q₀ that of the reset (both in linear DN), L⁻¹ the inverse linearity polynomial, whose
constant is the bias, C the integral non-linearity of the converter, d what the electronics add: offsets,
drift, 1/f noise, dark decay. ``refpix`` takes out of d what changes from resultant to resultant and
``dark_decay`` its part; the mean that is left is a few DN beside the bias, and ``linearity`` applies C and
L to the rest.
"""
