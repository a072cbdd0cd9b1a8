"""The layouts, one module each: a function under `@layout`, found by walking this package."""
