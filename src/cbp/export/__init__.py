"""Fitted models in the forms that others read.

scikit_learn    from and to scikit-learn's classes
"""
