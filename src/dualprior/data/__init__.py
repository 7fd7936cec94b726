"""Photographs, pixels and the crops cut from them."""
