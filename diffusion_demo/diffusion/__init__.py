"""The mathematics of diffusion models: pure PyTorch and NumPy, without file access, image handling or logging.

schedules       beta_t, abar_t, SNR
timesteps       timesteps that a sampler visits, and sampling of t in training
process         q(x_t | x_0), q(x_{t-1} | x_t, x_0), p_theta(x_{t-1} | x_t)
denoiser        calls of a network, at a timestep or within an interval
losses          L_simple, the terms of the variational bound, L_hybrid
samplers        DDPM, DDIM (with its encoder) and DPM-Solver++, as generators of steps
flow            flow matching: the straight path as a schedule, its velocity and the Euler method
reconstruction  reconstruction of images from x_t, and interpolation between two images
guidance        classifier-free guidance (wraps a denoiser) and classifier guidance (shifts p_theta)
likelihood      the variational bound on -log p(x_0), in bits per dimension
oracles         optimal denoisers in closed form
"""
