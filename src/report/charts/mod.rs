//! Charts: neutral figures drawn as SVG and as PNG with the same code.
