"""The mathematics of diffusion models, in torch and numpy alone: no files, no images, no printing.

schedules       beta_t, abar_t, SNR
timesteps       which timesteps a sampler visits, and how t is drawn in training
process         q(x_t | x_0), q(x_{t-1} | x_t, x_0), p_theta(x_{t-1} | x_t)
losses          L_simple, the terms of the variational bound, L_hybrid
samplers        ddpm, ddim and its encoder, and a fast one, as generators of steps
reconstruction  images brought back from x_t, and between two images
guidance        classifier-free: a denoiser around a denoiser; by a classifier: a shift of p_theta
likelihood      the bound on -log p(x_0), in bits per dimension
oracles         denoisers known in closed form
"""
