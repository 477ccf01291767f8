"""The page: `python app.py`. A Hugging Face Space starts here too."""

if __name__ == "__main__":
    from diffusion_demo.errors import needing_packages

    with needing_packages():
        from diffusion_demo.ui.page import main

    raise SystemExit(main())
