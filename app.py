"""Entry point of the web page: `python app.py`, also on a Hugging Face Space."""

if __name__ == "__main__":
    from diffusion_demo.errors import exit_on_missing_package

    with exit_on_missing_package():
        from diffusion_demo.ui.launch import main

    raise SystemExit(main())
