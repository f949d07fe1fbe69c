"""Fine-tuning on the gateway's own good answers: collected, cleaned, priced, submitted, evaluated, admitted."""
